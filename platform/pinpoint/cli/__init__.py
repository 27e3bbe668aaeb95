"""The command line: `pinpoint …`. The one room that prints."""
