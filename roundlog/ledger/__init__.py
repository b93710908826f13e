"""Can an outsider check that the record was not altered? Roots of sealed segments."""
