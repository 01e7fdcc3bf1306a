"""Drives the C library from a loop around Python's selectors: host.py LIBRARY PAGE SILENT

Prints the page PAGE, then cancels a request for SILENT, from which no answer comes.
"""

import ctypes
import selectors
import sys

Callback = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t, ctypes.c_char_p
)

lib = ctypes.CDLL(sys.argv[1])
lib.twistor_new.restype = ctypes.c_void_p
lib.twistor_get_page.restype = ctypes.c_int64
lib.twistor_get_page.argtypes = [ctypes.c_void_p, ctypes.c_char_p, Callback, ctypes.c_void_p]
lib.twistor_cancel.argtypes = [ctypes.c_void_p, ctypes.c_int64]
for function in (lib.twistor_fd, lib.twistor_deadline_ms, lib.twistor_turn, lib.twistor_free):
    function.argtypes = [ctypes.c_void_p]

reactor = lib.twistor_new()
done = []


@Callback
def receive(context, status, body, length, error):
    text = error.decode() if error else f"status {status}, {length} bytes: {bytes(body[:length]).decode()}"
    print(f"{'silent' if context else 'page'}: {text}")
    done.append(context)
    if not context:
        print("cancel returns", lib.twistor_cancel(reactor, silent))


lib.twistor_get_page(reactor, sys.argv[2].encode(), receive, None)
silent = lib.twistor_get_page(reactor, sys.argv[3].encode(), receive, 1)

with selectors.DefaultSelector() as selector:
    selector.register(lib.twistor_fd(reactor), selectors.EVENT_READ)
    while len(done) < 2:
        wait = lib.twistor_deadline_ms(reactor)
        selector.select(None if wait < 0 else wait / 1000)
        lib.twistor_turn(reactor)

print("free returns", lib.twistor_free(reactor))
