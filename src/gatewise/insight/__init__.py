"""Looking inside networks: recordings of all values, analyses, figures, and the HTML page."""
