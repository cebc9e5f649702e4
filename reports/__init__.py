"""Tables -> people: pages, SQL, JSON. Computes no statistics of its own."""
