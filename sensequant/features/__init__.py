"""What a model may see at the close of a session: families of features and their builder."""
