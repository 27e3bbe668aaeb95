"""The command line, `pinpoint …`. No other package prints."""
