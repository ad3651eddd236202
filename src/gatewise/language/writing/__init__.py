"""The equations of a cell as text: `equations` chooses the content, and each format has a small writer."""
