"""One HTML page that shows a recurrent network at work, `gatewise.look`.

`look` runs the model, `layers` and `model` collect what is to be seen, `sample` says how much of it fits,
`findings` puts it into sentences, `document` writes the page of that: ``page.html`` with its styles and
scripts, which need nothing else.
"""
