"""The byte-exact capture: a file system over a share that passes everything through and writes down what is changed."""
