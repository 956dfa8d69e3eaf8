"""What duplicate removal did, counted, checked and shown: evidence for people, limits that stop a run."""
