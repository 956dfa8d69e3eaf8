def detect(body):
    return None
