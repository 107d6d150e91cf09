"""Training: models, the loop of one worker, the recorder, and their assembly by Ray Train."""
