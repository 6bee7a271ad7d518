import os

# The tests write passphrases and private keys, and the program refuses files of these that others can read.
os.umask(0o077)
