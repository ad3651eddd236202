"""The forecaster: a recurrent network that predicts the next steps of a series, and the folder of its run."""
