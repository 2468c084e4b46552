"""The command line: each verb parses, calls and prints."""
