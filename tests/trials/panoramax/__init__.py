"""Real panoramas and a web server for the trial of the Panoramax viewer."""
