"""What clients need for https, which they make anew each: to read the certificates takes longer than most tests."""

import ssl

TLS = ssl.create_default_context()
