"""Which function answers which question? Thin calls; imported only when a question is asked."""
