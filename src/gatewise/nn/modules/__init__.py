"""What users hold: layers and single steps as torch modules, their files, and models of others."""
