"""milsurv: which multiple-instance-learning model predicts cancer survival best from whole slide images?

An Experiment puts a Model on the Bags of a Cohort, fold by fold, and each Result is a row of the Leaderboard.

Signs are stated once, here: event True = died, higher risk = earlier death, times are in months.
"""

__version__ = "0.1.0"
