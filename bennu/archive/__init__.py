"""All records of an app's logs in checksummed files that outlive the broker, and logs built from them again."""
