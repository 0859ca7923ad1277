"""What a verified audit trail shows for a review: controls, evidence, order records and conduct on own orders."""
