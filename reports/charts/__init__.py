"""Charts: an answer's table becomes one Vega-Lite description, for the page and for pictures.

`spec.vega_lite` describes, `drawn.drawn` adds what people read, `picture` draws on the server, and
`bundle` serves the libraries with which the page draws.
"""
