"""A Flask application that computes for about a millisecond."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def total() -> str:
    total = 0
    for number in range(20_000):
        total += number
    return str(total)
