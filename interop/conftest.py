import os

# The tests write passphrase and private key files, which the program refuses if others can read them.
os.umask(0o077)
