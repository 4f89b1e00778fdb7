"""What the user sees of a run: console, report.html and junit.xml, all from the run folder alone."""
