"""One file a version, in the order of their numbers; a version that was released is never changed."""
