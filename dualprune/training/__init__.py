"""Training: models, plans, the loop of one worker, curricula and the recorder. Nothing here knows Ray."""
