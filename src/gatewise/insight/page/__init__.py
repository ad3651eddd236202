"""`gatewise.look`: one HTML page that shows a recurrent network at work.

`look` runs the model, `layers` and `run` collect the data, `sample` decides how much of it fits, `findings`
writes the sentences, and `document` puts the page together: ``page.html`` with its styles and scripts, in one
file.
"""
