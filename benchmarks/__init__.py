"""How well the rate limiter decides: this program and what people write instead, against what could be known in hindsight."""
