"""What the package costs, beside what others cost, measured in one run on one machine."""
