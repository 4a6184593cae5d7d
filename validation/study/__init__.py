"""A calibration study: error rates of xdelnx and its peers on counts whose truth is known.

python -m validation.study --form small      # minutes
python -m validation.study --form full       # up to three hours on two cores; goes on where it stopped
"""
