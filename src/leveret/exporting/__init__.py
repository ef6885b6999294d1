"""The room of export formats: each file declares its entries in a dict `FORMATS`."""
