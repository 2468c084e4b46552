"""The networks of the paper; every module but `config` and `cost` needs torch (extra `train`)."""
