"""What people look through: recordings of a network at work, and pictures of them."""
