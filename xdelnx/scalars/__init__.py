"""Scalar formulas, each written once: logarithms and the negative binomial. The ground floor."""
