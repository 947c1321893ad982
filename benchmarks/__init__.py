"""How well the door decides: this program and what people write instead, against what could be known in hindsight."""
