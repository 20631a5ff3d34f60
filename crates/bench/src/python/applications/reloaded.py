"""An application that is saved repeatedly, with another NUMBER each time."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def number() -> str:
    return "NUMBER"
