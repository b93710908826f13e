"""Why did every defence miss the attack? Figures, each measured beside its attack-free twin.

runs                 a seed simulated, recorded, and what a figure needs of its record
norm_test            a test on the aggregate's norm: power against false alarms
privacy              success and accuracy under three levels of noise
secure_aggregation   the same bits with and without it, and what the server sees
normality            how often the poisoned model answers an ordinary query differently
drawing              the pictures
page                 the page of explanation, from the results
"""
