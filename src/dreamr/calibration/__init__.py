"""Gates whose risk is stated: what may be accepted on data of a kind, with which confidence."""

from dreamr.calibration._bound import Tested, binomial_tail, last_permitted, upper_bound

__all__ = ["Tested", "binomial_tail", "last_permitted", "upper_bound"]
