"""The equations of a cell as text: `equations` decides what to write, a small writer per format how."""
