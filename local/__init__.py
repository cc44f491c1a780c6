"""What the stages of run.sh do, one module per step, in the order in which the data flows."""
