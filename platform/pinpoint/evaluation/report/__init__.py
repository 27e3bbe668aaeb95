"""Reports of a run: JSON, Markdown, figures and maps."""
