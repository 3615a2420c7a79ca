# What an application in Flask has around the view that the tutorial shows.
import os

# SNIPPET


@app.get("/")
def page():
    return os.environ["PAGE"]


@app.get("/sign_in")
def sign_in():
    session["user"] = "ann"
    return ""


app.run(port=int(os.environ["PORT"]))
