"""The room of reports: run folders to a page, and to tables in Markdown, CSV and LaTeX; needs no torch."""
