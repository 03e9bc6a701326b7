"""What a user would write with other libraries for the steps of the reference ingestion.

Each is a script of a separate environment: `with_….py FOLDER STORE` ingests the files of a folder
into an empty one, and prints JSON. The time of imports does not count.
"""
