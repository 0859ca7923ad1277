"""What a run tells a person: the data of a report, its console form and its HTML form."""
