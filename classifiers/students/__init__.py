"""Students: small models that learn a rater's labels from texts that it rated."""
