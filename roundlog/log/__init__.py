"""Where do events wait for readers? One port, `roundlog.log.port`, and what implements it."""
