"""Being-H0.5: the model, its sequences, training, inference and evaluation."""
