"""The torch modules of users: layers and single steps, their files, and the models of other libraries."""
