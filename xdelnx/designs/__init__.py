"""From formulas and words to the design matrix and to contrasts of its coefficients."""
