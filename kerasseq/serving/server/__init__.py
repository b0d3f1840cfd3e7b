"""The REST API of TensorFlow Serving on a laptop, for development: `kerasseq serve`.

- `refusals`: errors of a request, with the status codes of the real server.
- `documents`: from JSON to arrays, and back.
- `models`: which models and versions there are, and how they are loaded.
- `batching`: requests that arrive together become one run of the graph.
- `requests`: predict, status and metadata.
- `application`: all of it over HTTP.
"""
